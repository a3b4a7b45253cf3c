"""Hold all settings of the service in one validated object."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "EIGENSERVE_"
#: Variable of a managed platform -> our setting. Vertex AI: "Custom container requirements for inference". SageMaker:
#: "Custom inference code with hosting services"; it asks for /ping and /invocations, which are MLflow's too. Where two
#: stand for one setting, the later counts, as in deploy/container/healthcheck.py.
_PLATFORMS = {
    "SAGEMAKER_BIND_TO_PORT": "port",
    "AIP_HTTP_PORT": "port",
    "AIP_HEALTH_ROUTE": "health_route",
    "AIP_PREDICT_ROUTE": "predict_route",
}
#: A path of the service. Braces would be parameters, which no platform has.
ROUTE = "^/[^{}]*$"
#: A version of a model.
VERSION = "[A-Za-z0-9][A-Za-z0-9._-]*:[1-9][0-9]{0,8}"


class Settings(BaseSettings):
    """Read the environment variables ``EIGENSERVE_*``; built once, at start.

    ``settings_table`` turns these fields into the table of docs/service.md.
    """

    # No timeout may be infinite: an event loop takes no such time.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", allow_inf_nan=False
    )

    store: str = Field(
        default="models",
        description="folder of the models, STORE/NAME/VERSION, or an fsspec URL such as s3://BUCKET/PREFIX",
    )
    store_cache: Path | None = Field(
        default=None, description="folder for copies of a URL's models; by default one of the user's cache"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    grpc_port: int | None = Field(
        default=None, ge=1, le=65535, description="port for the Open Inference Protocol over gRPC; by default none"
    )
    unix_socket: Path | None = Field(
        default=None, description="path of a Unix socket to listen on instead of an address and port"
    )
    path_prefix: str = Field(
        default="",
        pattern="^(/[^{}/]+)*$",
        description="path under which a proxy shows the service, such as `/models`; requests may come with it or "
        "without it",
    )
    trusted_proxies: str = Field(
        default="",
        description="comma-separated addresses and networks of proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed; `*` for any",
    )
    tls_certificate: Path | None = Field(default=None, description="file of the certificate chain (PEM); serves HTTPS")
    tls_key: Path | None = Field(default=None, description="file of the certificate's private key (PEM)")
    tls_client_ca: Path | None = Field(
        default=None, description="file of the authorities (PEM) one of which must have signed a client's certificate"
    )
    cors_origins: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="comma-separated origins, such as `https://app.example.com`, whose pages may call the service; "
        "`*` for any",
    )
    health_route: str | None = Field(
        default=None, pattern=ROUTE, description="additional path that answers as `/ping` does (Vertex AI chooses it)"
    )
    predict_route: str | None = Field(
        default=None, pattern=ROUTE, description="additional path that answers as `/invocations` does"
    )
    workers: int = Field(default=1, ge=1, le=256, description="server processes")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="threads of the solver, per worker; by default the cores, shared among the workers",
    )
    default_model: str | None = Field(
        default=None,
        description="model that answers requests without a model name; needed only where the store has several",
    )
    watch_interval_s: float = Field(
        default=2.0, ge=0, description="seconds between checks for new versions in the store; 0 disables them"
    )
    keep_versions: int = Field(
        default=10, ge=1, description="versions of a model that are served, the newest that can be loaded"
    )
    strict: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="comma-separated kinds of warnings for which rows are refused with 422: `missing`, `unseen`, "
        "`range`, `certified`, `unstable`; `true` for all. Requests and models may be strict about more",
    )
    max_body_bytes: int = Field(default=32 * 2**20, ge=1, description="largest request body, after decompression")
    max_memory_bytes: int = Field(
        default=2**28,
        ge=2**20,
        description="most memory of bodies, and of answers that clients have not taken, per worker; more are refused "
        "with 503. One client, by key or address, may hold half of it",
    )
    max_rows: int = Field(default=100_000, ge=1, description="most rows in one request")
    max_queue_rows: int = Field(
        default=200_000, ge=1, description="rows that may wait for the solver; more are refused with 503"
    )
    deadline_s: float = Field(default=30.0, gt=0, description="seconds until a request is answered with 504")
    body_timeout_s: float = Field(default=20.0, gt=0, description="seconds a client has to send a body")
    drain_timeout_s: float = Field(
        default=20.0, gt=0, description="seconds that accepted requests have to finish after SIGTERM"
    )
    hang_timeout_s: float = Field(
        default=30.0, gt=2, description="seconds of silence after which one of several workers is replaced"
    )
    write_timeout_s: float = Field(
        default=8.0, gt=0, description="seconds after which a client that takes nothing of its answer is cut off"
    )
    keep_alive_s: int = Field(default=75, ge=1, description="seconds an idle connection stays open")
    max_connections: int = Field(
        default=16_384,
        ge=1,
        description="open connections per worker; more are closed at once. With TLS they count from the end of "
        "the handshake, which may take 10 s and be one of 256 under way; of more, the one that has lasted longest ends",
    )
    api_keys: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="comma-separated keys that may predict; without any, the service is open",
    )
    admin_keys: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="comma-separated keys that may also load and unload models"
    )
    keys_file: Path | None = Field(
        default=None, description="TOML file of keys with names, scopes, expiry and limits, read again when it changes"
    )
    jwt_jwks_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="where an identity provider publishes the keys of its tokens (JWKS), which are then taken as keys",
    )
    jwt_audience: str | None = Field(default=None, description="audience that tokens must be made for")
    jwt_issuer: str | None = Field(default=None, description="issuer that tokens must come from")
    records: str = Field(
        default="",
        description="where every answered row is recorded: a folder or an fsspec URL for Parquet parts, and/or an "
        "http(s) URL that receives CloudEvents, separated by a comma ([records](records.md))",
    )
    records_key: Path | None = Field(
        default=None, description="file of an Ed25519 private key (PEM) that signs the records"
    )
    records_sample: Annotated[Mapping[str, float], NoDecode] = Field(
        default_factory=dict,
        validate_default=True,
        description="shares of the requests that are recorded, by route: `/predict=0.1,/explain=1`; all of others",
    )
    records_buffer_rows: int = Field(
        default=200_000, ge=1, description="rows that may wait to be recorded, per worker and place"
    )
    records_buffer_mb: int = Field(
        default=64, ge=1, description="megabytes of rows that may wait to be recorded, per worker and place"
    )
    records_when_full: Literal["drop", "refuse"] = Field(
        default="drop",
        description="where more would have to wait: `drop` rows and count them, or `refuse` requests with 503",
    )
    records_part_rows: int = Field(default=100_000, ge=1, description="rows after which a part is written")
    records_part_s: float = Field(default=10.0, gt=0, description="seconds after which a part with fewer is written")
    shadow: str | None = Field(
        default=None,
        pattern=f"^{VERSION}$",
        description="NAME:VERSION that only runs along, and is compared at `/models/NAME/shadow` with what answers",
    )
    canary: str | None = Field(
        default=None,
        pattern=rf"^{VERSION}:(0|1|0?\.[0-9]+)$",
        description="NAME:VERSION:SHARE, a version that answers this share of the requests that name no version",
    )
    drift: bool = Field(
        default=True, description="compare what is predicted with training, for models that keep a sketch of it"
    )
    drift_rows: int = Field(
        default=2000, ge=100, le=1_000_000, description="rows of the recent window of drift, over all workers"
    )
    drift_level: float = Field(
        default=0.001, gt=0, lt=1, description="chance that a window raises an alarm where nothing has drifted"
    )
    outcome_rows: int = Field(
        default=20_000, ge=0, description="predictions per worker that outcomes by request id are waited for; 0: none"
    )
    page: bool = Field(default=True, description="answer browsers at `/` with the page of explanations")
    access_log: bool = Field(default=True, description="write one line for every request")
    log_format: Literal["json", "text"] = Field(default="json", description="form of the log lines on standard error")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged"
    )

    @field_validator("store", mode="before")
    @classmethod
    def _open(cls, value: object) -> object:
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, str) and "://" in value:
            # Imported late: a folder needs no kernels to be named.
            from eigenserve.model.checkpoints.locations import open_store

            open_store(value)
        return value

    @field_validator("strict", mode="before")
    @classmethod
    def _kinds(cls, value: object) -> object:
        # Imported late: a command line that is mistaken needs no NumPy.
        from eigenserve.model.rows.warnings import read_kinds

        return value if isinstance(value, frozenset) else read_kinds(value)

    @field_validator("tls_certificate", "tls_key", "tls_client_ca")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"must be a file; got {value}")
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Settings:
        if (self.tls_key or self.tls_client_ca) and not self.tls_certificate:
            raise ValueError("tls_certificate must be set where tls_key or tls_client_ca is")
        return self

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if (self.jwt_jwks_url is None) != (self.jwt_audience is None):
            raise ValueError(f"{PREFIX}JWT_JWKS_URL and {PREFIX}JWT_AUDIENCE need each other: set both or none")
        if self.jwt_jwks_url is not None and find_spec("jwt") is None:
            raise ValueError(f"{PREFIX}JWT_JWKS_URL needs the package PyJWT: pip install 'eigenserve[jwt]'")
        return self

    @field_validator("records_key")
    @classmethod
    def _is_key(cls, value: Path | None) -> Path | None:
        if value is not None and find_spec("cryptography") is None:
            raise ValueError("needs the package cryptography: pip install 'eigenserve[records]'")
        if value is not None and not value.is_file():
            raise ValueError(f"must be a file; got {value}")
        return value

    @field_validator("records")
    @classmethod
    def _can_record(cls, value: str) -> str:
        if value and find_spec("pyarrow") is None:
            raise ValueError("needs the package pyarrow: pip install 'eigenserve[records]'")
        return value

    @field_validator("records_sample", mode="before")
    @classmethod
    def _shares(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        shares = {}
        for part in value.split(","):
            route, mark, share = part.strip().rpartition("=")
            if part.strip():
                try:
                    shares[route] = float(share)
                except ValueError:
                    shares[route] = -1.0
                if not mark or not 0.0 <= shares[route] <= 1.0:
                    raise ValueError(
                        f"must be ROUTE=SHARE with a share from 0 to 1, such as /predict=0.1; got {part!r}"
                    )
        return shares

    @field_validator("grpc_port")
    @classmethod
    def _has_grpc(cls, value: int | None) -> int | None:
        if value is not None and (find_spec("grpc") is None or find_spec("grpc_reflection") is None):
            raise ValueError("needs the packages grpcio and grpcio-reflection: pip install 'eigenserve[grpc]'")
        return value

    @field_validator("api_keys", "admin_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip() for part in value.split(",") if part.strip())
        return value


def platform_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that a platform's variables stand for, except those that are set by their own names."""
    return {name: environment[variable] for name, variable in platform_variables(environment).items()}


def platform_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the platform's variable that each setting is taken from."""
    return {
        name: variable
        for variable, name in _PLATFORMS.items()
        if environment.get(variable) and not environment.get(PREFIX + name.upper())
    }


def settings_table() -> str:
    """Write the table of all settings, in Markdown."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, frozenset) or default in (None, "", PydanticUndefined):
            shown = ""
        elif isinstance(default, bool):
            shown = f"`{str(default).lower()}`"
        else:
            shown = f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"
