from al_platform.models.transformer.metrics_file import MetricsFile, MetricsReader


class Told:
    def __init__(self):
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((metrics, step))


def test_what_the_first_device_measures_reaches_the_logger_once(tmp_path):
    file, told = tmp_path / "metrics.jsonl", Told()
    reader = MetricsReader(file, told)
    reader.hand_on()
    writer = MetricsFile(file)
    writer.log_metrics({"loss": 2.0}, step=1)
    reader.hand_on()
    writer.log_metrics({"loss": 1.0}, step=2)
    reader.hand_on()
    reader.hand_on()
    assert told.rows == [({"loss": 2.0}, 1), ({"loss": 1.0}, 2)]


def test_a_line_that_is_not_whole_yet_waits(tmp_path):
    file, told = tmp_path / "metrics.jsonl", Told()
    reader = MetricsReader(file, told)
    file.write_text('{"metrics": {"loss": 2.0}, "step": 1}\n{"metr')
    reader.hand_on()
    assert told.rows == [({"loss": 2.0}, 1)]
    with file.open("a") as more:
        more.write('ics": {"loss": 1.0}, "step": 2}\n')
    reader.hand_on()
    assert told.rows[1:] == [({"loss": 1.0}, 2)]


def test_other_devices_write_nothing(tmp_path):
    MetricsFile(None).log_metrics({"loss": 1.0}, step=1)
    assert list(tmp_path.iterdir()) == []
