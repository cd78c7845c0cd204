"""The recipients of notifications: an HTTP receiver in which each address and each channel has a path."""

import json

from moto.sns.models import sns_backends

from tests.rehearsal.aws.answers import find_signed
from tests.rehearsal.aws.cloudwatch import as_mail
from tests.support.aws import ACCOUNT, FakeAws, Refused
from tests.support.json_server import JsonServer, Silent
from tests.support.regions import LACKING


class Receiver(JsonServer):
    """Receives what SNS posts; also imitates the two services that only ``bootstrap`` calls."""

    def __init__(self):
        self.messages = []  # (path, subject, text)
        self.connection = "PENDING"
        self.account = FakeAws()  # of which only the part about Slack is asked
        self._subscribed = {}  # (channel, topic): the subscription
        headers = {"x-amzn-RequestId": "1"}
        super().__init__(lambda _, *request: (*self.take(*request), headers))

    def take(self, path, headers, body):
        """The status and the answer."""
        region, service = find_signed(headers.get("Authorization", ""))
        if region in LACKING.get(service, ()):
            raise Silent
        if service == "codeconnections":
            return 200, {"Connection": {"ConnectionStatus": self.connection}}
        if service == "chatbot":
            return self._about_slack(path.strip("/").replace("-", "_"), body)
        if body.get("Type") == "Notification":
            text = as_mail(body["Message"]) if path.startswith("/email/") else body["Message"]
            if not path.startswith("/slack/") or is_shown(text):
                self.messages.append((path, body.get("Subject") or "", text))
        return 200, {}

    def _about_slack(self, operation, asked):
        try:
            answer = getattr(self.account, f"chatbot_{operation}")(**asked)
        except Refused as refused:
            return 400, {"__type": refused.code, "message": refused.message}
        self._subscribe()
        return 200, answer or {}

    def _subscribe(self):
        """Let the channels have their topics, and no others."""
        channels = self.account.channels.values()
        wanted = {(one["SlackChannelId"], arn) for one in channels for arn in one["SnsTopicArns"]}
        for channel, arn in wanted - self._subscribed.keys():
            topics = sns_backends[ACCOUNT][arn.split(":")[3]]
            made = topics.subscribe(arn, f"{self.url}/slack/{channel}", "http")
            self._subscribed[channel, arn] = made.arn
        for channel, arn in self._subscribed.keys() - wanted:
            topics = sns_backends[ACCOUNT][arn.split(":")[3]]
            topics.unsubscribe(self._subscribed.pop((channel, arn)))

    def told(self, path):
        """The messages sent to an address or a channel."""
        return [f"{subject}\n{text}" for to, subject, text in list(self.messages) if to == path]


def is_shown(message):
    """Whether Amazon Q Developer shows a message in a channel; it drops all others, and nothing reports that.

    What it shows are alarms, events of services in their own form, and its custom notifications:
    https://docs.aws.amazon.com/chatbot/latest/adminguide/chatbot-services.html, and custom-notifs.html there.
    """
    try:
        found = json.loads(message)
    except ValueError:
        return False
    if not isinstance(found, dict):
        return False
    source, content = str(found.get("source")), found.get("content")
    if source == "custom":
        is_whole = isinstance(content, dict) and isinstance(content.get("description"), str)
        return found.get("version") == "1.0" and is_whole
    is_event = source.startswith("aws.") and bool({"detail-type", "detailType"} & found.keys())
    return "AlarmName" in found or is_event
