"""Django's StreamingHttpResponse relays a reply. Serve it: gunicorn --chdir examples/web -k gthread django_app:app."""

import json

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from streamkit import Client
from streamkit.errors import RequestError
from streamkit.web.formats import messages_in
from streamkit.web.relay import relay

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None)
client = Client()


def chat(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    try:
        messages = messages_in(request.body)
    except RequestError as error:
        return HttpResponse(str(error).encode(), status=error.status, content_type="text/plain")
    stream = client.stream("demo/storyteller", messages, max_tokens=3)
    relayed = relay(stream, "text", environ=request.META)  # META has the client's socket, to notice that it leaves
    return StreamingHttpResponse(relayed, status=relayed.status_code, headers=relayed.headers)


urlpatterns = [path("api/chat", csrf_exempt(require_POST(chat)))]  # exempt as this example has no page with a token
app = get_wsgi_application()

if __name__ == "__main__":  # ask once
    question = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Tell me a story"}]}
    body = json.dumps({"id": "c1", "messages": [question]})
    response = chat(RequestFactory().post("/api/chat", body, content_type="application/json"))
    print(response.status_code, response.headers["Content-Type"])
    print(b"".join(response).decode())
