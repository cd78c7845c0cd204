"""Messages for people, by e-mail and in Slack."""

import json

from deploy.delivery import notify


def test_everybody_gets_a_form_that_they_can_read():
    forms = json.loads(notify.structure("It is done", ["version: 1", "who: me"]))
    assert forms["email"] == "It is done\n\nversion: 1\nwho: me\n"
    custom = json.loads(forms["default"])
    assert (custom["version"], custom["source"]) == ("1.0", "custom")
    assert custom["content"]["title"] == "It is done"
    assert custom["content"]["description"] == "version: 1\nwho: me"


def test_what_is_too_long_is_cut():
    content = json.loads(json.loads(notify.structure("a" * 300, ["b" * 9000]))["default"])
    assert len(content["content"]["title"]) == 250
    assert len(content["content"]["description"]) == 8000


def test_a_subject_is_one_line_of_ascii(aws, run):
    notify.publish(run, "arn:topic", "Grüße\nan alle" + "!" * 100, ["a line"])
    assert aws.published[0]["Subject"] == "Gr??e an alle" + "!" * 86
