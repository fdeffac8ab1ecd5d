"""The relay under real servers: gunicorn's workers, nginx, Django, werkzeug, waitress, and the standard library's."""
