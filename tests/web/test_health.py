from web import create_app

NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}


def test_a_running_service_is_alive_and_ready(client):
    assert client.get("/livez").json == {"status": "ok", "version": "dev"}
    assert client.get("/readyz").json == {"status": "ok"}
    assert client.head("/livez").status_code == client.head("/readyz").status_code == 200


def test_without_a_database_it_is_alive_but_not_ready():
    client = create_app(NOWHERE).test_client()
    assert client.get("/livez").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    assert response.headers["Retry-After"] == "5"
    assert client.get("/hello/John").status_code == 503
    assert client.put("/hello/John", json={"dateOfBirth": "1990-05-17"}).status_code == 503
