"""Where AWS lacks what this project uses, of its commercial regions: services, and types of CloudFormation.

As published on 28 November 2026. What is not in a table is in every region. The sources disagree in
places and are late at times, so a region in a table may have got the service since: the imitations
refuse too much rather than too little.
"""


def _regions(text: str) -> frozenset[str]:
    return frozenset(text.split())


COMMERCIAL = _regions("""
    af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2
    ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6
    ap-southeast-7 ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2
    eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1
    us-east-1 us-east-2 us-west-1 us-west-2
""")
_YOUNG = _regions("""
    ap-east-2 ap-south-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
    ca-west-1 eu-central-2 eu-south-2 il-central-1 me-central-1 mx-central-1
""")
_CONNECTIONS = _YOUNG | _regions("af-south-1 ap-east-1 ap-northeast-3")
_NOTIFICATIONS = _YOUNG | _regions("af-south-1 ap-northeast-3 eu-south-1")

# Services by their names in signatures: from the endpoints of botocore, and those that it lacks from
# https://docs.aws.amazon.com/general/latest/gr/chatbot.html and
# https://docs.aws.amazon.com/general/latest/gr/codeconnections.html (as for codestar-connections).
# Budgets has one endpoint for all regions
LACKING = {
    "chatbot": COMMERCIAL - _regions("us-east-2 us-west-2 eu-west-1 ap-southeast-1"),
    "codebuild": _regions("ap-east-2 ca-west-1 mx-central-1"),
    "codeconnections": _CONNECTIONS | {"me-south-1"},
    "codepipeline": _regions("ap-east-2 ap-southeast-7 ca-west-1 mx-central-1"),
    "codestar-notifications": _NOTIFICATIONS,
    "elasticbeanstalk": _regions("ap-east-2 mx-central-1"),
}
# From the schemas of cfn-lint, which are those that CloudFormation publishes for each region
MISSING = {
    "AWS::Budgets::Budget": _CONNECTIONS | _regions("eu-north-1 eu-south-1"),
    "AWS::CodeBuild::Project": _regions("ap-east-2 ca-west-1 mx-central-1"),
    "AWS::CodeConnections::Connection": _CONNECTIONS,
    "AWS::CodeStarNotifications::NotificationRule": _NOTIFICATIONS,
}
