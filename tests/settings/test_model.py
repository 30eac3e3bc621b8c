from datetime import timedelta

import pytest

from bot.settings.model import Instance, Operator, Settings, Webhook

SALES = Instance(name="sales", token="canary-token")
ANA = Operator(telegram_id=42, name="Ana", instances=("sales", "support"))


def settings(**values: object) -> Settings:
    return Settings.model_validate({"instances": {"sales": SALES}, "operators": [ANA], **values})


def test_no_secret_is_shown_with_the_rest() -> None:
    webhook = Webhook(url="https://h/x", secret="canary-secret", port=8080)
    url = "postgres://u:canary@h/d"
    found = settings(telegram_token="1:canary", database_url=url, webhook=webhook)
    assert "canary" not in f"{found} {found!r} {found.webhook!r} {SALES!r}"
    assert set(found.secrets) == {"1:canary", url, "canary", "canary-token", "canary-secret"}
    assert "" not in settings().secrets


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        *((f"{scheme}://u:p%40%2Fss@h:5432/d", {"p%40%2Fss", "p@/ss"}) for scheme in ("postgres", "postgresql")),
        *((url, set()) for url in ("postgresql://", "postgres://h", "postgres://u@h/d", "postgres:///d")),
        ("postgresql://h:5432,i:5433/d?user=u&password=p%20w&sslpassword=q", {"p%20w", "p w", "q"}),
        ("postgresql://u:a?b#c@%2Fvar%2Frun/d", {"a?b#c"}),
    ],
)
def test_the_databases_passwords_are_secrets_as_written_and_as_meant(url: str, passwords: set[str]) -> None:
    found = settings(database_url=url)
    assert set(found.secrets) == {"canary-token", url, *passwords}


BASE_URLS = {
    "http://127.0.0.1:8081/": "http://127.0.0.1:8081",
    "HTTPS://H.example/api//": "https://h.example/api",
    "https://exämple.org": "https://xn--exmple-cua.org",
}


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        *(("region", written, written.upper()) for written in ("br", "NO", "Gb")),
        *(("keep", f"{days}d", timedelta(days=days)) for days in (0, 1, 9999)),
        ("keep", "0", timedelta(0)),
        *(("ryze", {"base_url": url}, settings(ryze={"base_url": meant}).ryze) for url, meant in BASE_URLS.items()),
    ],
)
def test_what_a_value_may_be(field: str, written: object, meant: object) -> None:
    assert getattr(settings(**{field: written}), field) == meant


@pytest.mark.parametrize(
    "url", ["https://h.example:8443/a.b/c(d)/", "http://127.0.0.1:8080/", "http://localhost/x", "http://[::1]:81/x"]
)
def test_a_webhook_is_kept_with_its_path_and_plain_http_only_reaches_this_machine(url: str) -> None:
    assert Webhook(url=url, secret="s").url == url
