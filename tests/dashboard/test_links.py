import pytest

from al_platform.dashboard.links import Links, web_link


@pytest.mark.parametrize(
    ("folder", "root", "link"),
    [
        ("/data/logs/dashboard", "/data/models", "../../models/topics/a%20report.html"),
        ("s3://bucket/al/logs/dashboard", "s3://bucket/al/models", "../../models/topics/a%20report.html"),
        ("/Volumes/c/s/v/logs/dashboard", "/Volumes/c/s/v/models", "../../models/topics/a%20report.html"),
    ],
)
def test_a_link_within_one_disk_bucket_or_volume_is_relative(folder, root, link):
    assert Links(folder).to(root, "topics/a report.html") == link


@pytest.mark.parametrize(
    ("folder", "root"),
    [
        ("s3://logs/dashboard", "s3://models"),
        ("s3://logs/dashboard", "/data/models"),
        ("/Volumes/c/s/logs/dashboard", "/Volumes/c/s/models"),
        (None, "s3://models"),
        (None, "/Volumes/c/s/models"),
        ("/data/logs/dashboard", None),
    ],
)
def test_where_no_link_can_work_there_is_none(folder, root):
    assert Links(folder).to(root, "report.html") is None


def test_a_copy_elsewhere_reaches_files_of_this_machine():
    assert Links(None).to("/data/models", "a report.html") == "file:///data/models/a%20report.html"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://[", None])
def test_a_browser_is_sent_to_web_addresses_alone(url):
    assert web_link(url) is None
    assert web_link("https://airflow.example.org/run") == "https://airflow.example.org/run"
