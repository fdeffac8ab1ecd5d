"""The same application with Django's StreamingHttpResponse."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from streamkit.web.relay import relay
from tests.e2e.servers import app as served

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="for tests", LOGGING_CONFIG=None)


def stream(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Ask the model, and relay its reply."""
    reply = served.client.stream("openai/m", "Hi")
    relayed = relay(reply, format, environ=request.META, **served._times(request.GET.dict()))
    return StreamingHttpResponse(relayed, status=relayed.status_code, headers=relayed.headers)


def left(request: HttpRequest) -> HttpResponse:
    """Say what this process holds."""
    return HttpResponse(served._left_bytes(), content_type="application/json")


urlpatterns: list[Any] = [path("stream/<str:format>", stream), path("left", left)]
app = get_wsgi_application()
