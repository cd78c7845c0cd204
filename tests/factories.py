"""Users for tests."""

from datetime import date

import factory

from web.storage import Person, db


class PersonFactory(factory.alchemy.SQLAlchemyModelFactory):
    """A user in the database; names contain only letters: NameA, NameB, ..."""

    class Meta:
        model = Person
        sqlalchemy_session = db.session
        sqlalchemy_session_persistence = "commit"

    username = factory.Sequence(
        lambda number: "Name" + "".join(chr(ord("A") + int(digit)) for digit in str(number))
    )
    date_of_birth = factory.Faker(
        "date_between", start_date=date(1900, 1, 1), end_date=date(2000, 1, 1)
    )
