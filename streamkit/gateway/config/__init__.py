"""The gateway's configuration: a TOML file, checked as a whole, as frozen values.

No HTTP, no database, no threads: what is here can be read by a command that only checks a file.
"""

from streamkit.gateway.config.problems import ConfigProblem, ConfigProblems
from streamkit.gateway.config.reading import read_config
from streamkit.gateway.config.upstreams import provider_of
from streamkit.gateway.config.values import Config, LogConfig, ModelConfig, Secret, UpstreamConfig

__all__ = [
    "Config",
    "ConfigProblem",
    "ConfigProblems",
    "LogConfig",
    "ModelConfig",
    "Secret",
    "UpstreamConfig",
    "provider_of",
    "read_config",
]
