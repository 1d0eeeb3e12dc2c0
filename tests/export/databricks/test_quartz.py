import pytest

from al_platform.domain.errors import ConfigError
from al_platform.export.databricks.cron import check_quartz, quartz


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 3 2 * *", "0 0 3 2 * ?"),
        ("30 6 * * 1", "0 30 6 ? * MON"),
        ("0 3 4 1,4,7,10 *", "0 0 3 4 1,4,7,10 ?"),
        ("0 6 * * 1-5", "0 0 6 ? * MON,TUE,WED,THU,FRI"),
        ("0 6 * * 0", "0 0 6 ? * SUN"),
        ("0 6 * * 7", "0 0 6 ? * SUN"),
        ("0 6 * * */2", "0 0 6 ? * SUN,TUE,THU,SAT"),
        ("0 6 * JAN sat,sun", "0 0 6 ? 1 SUN,SAT"),
        ("*/15 0-6/2 * * *", "0 */15 0-6/2 * * ?"),
    ],
)
def test_cron_becomes_quartz_with_days_named_from_sunday(cron, expected):
    assert quartz(cron) == expected
    check_quartz(expected)


@pytest.mark.parametrize(
    ("cron", "what"),
    [
        ("0 3 2 *", "has 4 fields"),
        ("60 3 2 * *", "'60' is no minute: take 0 to 59"),
        ("0 24 2 * *", "'24' is no hour"),
        ("0 3 0 * *", "'0' is no day of the month"),
        ("0 3 2 13 *", "'13' is no month"),
        ("0 3 * * 8", "'8' is no day of the week"),
        ("0 3 * * FOO", "'FOO' is no day of the week"),
        ("0 3 2 MAY-FEB *", "'5-2' never comes"),
        ("0 3 */0 * *", "never comes"),
        ("5/15 3 2 * *", "'5/15' is no minute"),
        ("0 3 2 * 1", "Databricks cannot say that"),
    ],
)
def test_a_schedule_that_databricks_could_not_follow_is_refused_with_its_field(cron, what):
    with pytest.raises(ConfigError, match="schedule") as error:
        quartz(cron)
    assert what in str(error.value)


@pytest.mark.parametrize("wrong", ["0 3 2 * *", "0 0 3 2 * *", "0 0 3 ? * ?", "0 0 3 2 13 ?", "7 0 3 2 * ?"])
def test_what_is_no_quartz_is_refused(wrong):
    with pytest.raises(ConfigError):
        check_quartz(wrong)
