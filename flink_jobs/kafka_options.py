"""How the connector reaches Kafka: its options for protocol, user and certificates."""

from __future__ import annotations

from typing import Final

from reccore.access import KafkaAccess

# The connector's jar carries a Kafka client of its own, under another name.
_LOGIN: Final = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"


def access_options(access: KafkaAccess, ca_certificates: str) -> str:
    """Give the options as lines of a WITH clause, each with a comma at its end; none for an open broker.

    ``ca_certificates`` is the content of the access's file, so that no TaskManager needs the file.
    """
    options: dict[str, str] = {}
    if access.has_sasl or access.has_tls:
        options["security.protocol"] = access.protocol
    if access.has_sasl:
        options["sasl.mechanism"] = access.mechanism
        options["sasl.jaas.config"] = _login(access)
    if ca_certificates:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.certificates"] = ca_certificates
    return "".join(f"'properties.{name}' = {_sql(value)},\n" for name, value in options.items())


def _login(access: KafkaAccess) -> str:
    module = "plain.PlainLoginModule" if access.mechanism == "PLAIN" else "scram.ScramLoginModule"
    return f"{_LOGIN}.{module} required username={_jaas(access.username)} password={_jaas(access.password)};"


def _jaas(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sql(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
