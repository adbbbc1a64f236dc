"""SES, against moto's server, which is none of ours. It checks senders, and no signatures."""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.dev.processes import Child
from app.dev.state import free_port
from app.providers.failures import ProviderRefused
from app.providers.http import http_client
from app.providers.mail import EmailProvider, Mail, Sender
from app.providers.ses import Ses
from app.settings import PROJECT_ROOT

MAIL = Mail(to="asha@example.com", subject="Receipt ₹45", text="दूध", html="<p>दूध</p>", key="outbox:7:email")


@dataclass
class Moto:
    url: str
    client: httpx.AsyncClient

    def ses(self, sender: str) -> EmailProvider:
        return Ses(
            self.client,
            base_url=self.url,
            region="ap-south-1",
            access_key_id="AKIDEXAMPLE",
            secret_access_key=SecretStr("secret"),
            sender=Sender(email=sender, name="Dairy", reply_to="help@dairy.example"),
        )

    async def messages(self) -> list[dict[str, Any]]:
        data = (await self.client.get(f"{self.url}/moto-api/data.json")).json()
        return list(data["ses"].get("Message", []))


@pytest.fixture(scope="module")
async def moto() -> AsyncIterator[Moto]:
    port = free_port(0)
    url = f"http://127.0.0.1:{port}"
    child = Child(
        "moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], folder=PROJECT_ROOT
    )
    async with http_client() as client:

        async def answers() -> bool:
            try:
                return (await client.get(f"{url}/moto-api/data.json")).is_success
            except httpx.ConnectError:
                return False

        await child.start(answers)
        try:
            identity = {"EmailIdentity": "orders@dairy.example"}
            ses = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKID/20260301/ap-south-1/ses/aws4_request"}
            made = await client.post(f"{url}/v2/email/identities", json=identity, headers=ses)
            made.raise_for_status()
            yield Moto(url, client)
        finally:
            await child.stop()


async def test_a_mail_of_a_verified_sender_arrives(moto: Moto) -> None:
    message_id = await moto.ses("orders@dairy.example").send(MAIL)

    [message] = [message for message in await moto.messages() if message["id"] == message_id]
    assert message["source"] == "Dairy <orders@dairy.example>"
    assert message["destinations"]["ToAddresses"] == ["asha@example.com"]
    assert message["subject"] == "Receipt ₹45"
    assert message["body"] in ("दूध", "<p>दूध</p>")


async def test_a_sender_that_is_not_verified_is_refused_in_amazons_words(moto: Moto) -> None:
    with pytest.raises(ProviderRefused, match=r"MessageRejected.*not verified"):
        await moto.ses("nobody@elsewhere.example").send(MAIL)
