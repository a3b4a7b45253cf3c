"""Read the settings that Vertex AI and SageMaker pass to a container in environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI

from eigenserve.app.api.mlflow import invocations, ping

#: Variable of a platform -> our setting. Vertex AI: "Custom container requirements for inference". SageMaker: "Custom
#: inference code with hosting services"; it asks for /ping and /invocations, which are MLflow's too. Where two stand
#: for one setting, the later counts, as in deploy/container/healthcheck.py.
_SETTINGS = {
    "SAGEMAKER_BIND_TO_PORT": "port",
    "AIP_HTTP_PORT": "port",
    "AIP_HEALTH_ROUTE": "health_route",
    "AIP_PREDICT_ROUTE": "predict_route",
}


def platform_settings(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the settings that a platform's variables stand for, except those that ``prefix`` variables name."""
    return {name: environment[variable] for name, variable in platform_variables(environment, prefix).items()}


def platform_variables(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Map each setting to the platform's variable that it is taken from."""
    return {
        name: variable
        for variable, name in _SETTINGS.items()
        if environment.get(variable) and not environment.get(prefix + name.upper())
    }


def add_platform_routes(app: FastAPI, health_route: str | None, predict_route: str | None) -> None:
    """Answer on the paths that a platform chose: as /ping does, and as /invocations."""
    if health_route is not None:
        app.add_api_route(health_route, ping, methods=["GET"], include_in_schema=False)
    if predict_route is not None:
        app.add_api_route(predict_route, invocations, methods=["POST"], include_in_schema=False)
