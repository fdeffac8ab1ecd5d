"""Amazon Bedrock's Converse API."""

from streamkit.providers.bedrock.provider import Bedrock as Bedrock
