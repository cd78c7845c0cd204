"""RDS: the databases that environments have. moto knows only those that it made itself."""


class Databases:
    """Answers for the databases of ``environments``, by name."""

    actions = ("modify_db_instance", "describe_db_instances")

    def __init__(self, environments):
        self._environments = environments

    def modify_db_instance(self, DBInstanceIdentifier, MasterUserPassword, **_):
        self._environments[DBInstanceIdentifier].database.change_password(MasterUserPassword)
        return {"DBInstance": self._describe(DBInstanceIdentifier)}

    def describe_db_instances(self, DBInstanceIdentifier, **_):
        return {"DBInstances": [self._describe(DBInstanceIdentifier)]}

    def _describe(self, name):
        assert self._environments[name].database
        return {
            "DBInstanceIdentifier": name,
            "DBInstanceStatus": "available",
            "PendingModifiedValues": {},
        }
