"""The subscriptions of SNS's topics: who gets messages, and who has not confirmed yet.

As documented, an address that has not has no ARN, and each gets the text for its own protocol. Not imitated: it gets
the messages before it has confirmed, too.
"""

import json
import re
from unittest import mock

from moto.sns.models import Subscription, sns_backends

from deploy.resources.subscriptions import PENDING
from tests.support.aws import ACCOUNT

RECEIVER = re.compile(r"http://[^/]+/(\w+)/(.+)")  # tests/rehearsal/aws/notifications.py


class Subscriptions:
    """Serves the subscriptions in ``region``; ``are_confirmed()`` says whether the addresses are."""

    actions = ("list_subscriptions_by_topic",)

    def __init__(self, region, are_confirmed):
        self._region, self._are_confirmed = region, are_confirmed

    def list_subscriptions_by_topic(self, TopicArn, **_):
        known = sns_backends[ACCOUNT][self._region].subscriptions.values()
        return {
            "Subscriptions": [self._describe(one) for one in known if one.topic.arn == TopicArn]
        }

    def _describe(self, one):
        protocol, address = RECEIVER.fullmatch(one.endpoint).groups()
        is_pending = protocol == "email" and not self._are_confirmed()
        return {
            "SubscriptionArn": PENDING if is_pending else one.arn,
            "TopicArn": one.topic.arn,
            "Protocol": protocol,
            "Endpoint": address,
            "Owner": ACCOUNT,
        }


def patches():
    """A patch that makes moto choose the text by the protocol in the receiver's URL, as all are posted to there."""
    return [mock.patch.object(Subscription, "_parse_message_structure", _choose)]


def _choose(subscription, message, _):
    texts = json.loads(message)
    return texts.get(RECEIVER.fullmatch(subscription.endpoint)[1]) or texts["default"]
