"""Messages for people, by e-mail and in Slack."""

import json

from deploy.delivery import notify


def test_each_recipient_gets_a_readable_format():
    """Also a long message: Slack's is cut."""
    title, line = "t" * 300, "v" * 9000
    forms = json.loads(notify.structure(title, ["who: me", line]))
    assert forms["email"] == f"{title}\n\nwho: me\n{line}\n"
    custom = json.loads(forms["default"])
    assert (custom["version"], custom["source"]) == ("1.0", "custom")
    assert custom["content"]["title"] == title[:250]
    assert custom["content"]["description"] == f"who: me\n{line}"[:8000]


def test_a_subject_is_one_line_of_ascii(aws, run):
    notify.publish(run, "arn:topic", "Grüße\nan alle" + "!" * 100, ["a line"])
    assert aws.published[0]["Subject"] == "Gr??e an alle" + "!" * 86
