"""Which model a prompt is sent to, as a pack names none: ``choose_model``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs

from streamkit.errors import ConfigError
from streamkit.packs.values import TestedModel
from streamkit.providers import registry

__all__ = ["DEFAULT_MODELS", "VARIABLE", "DefaultModel", "choose_model"]

#: The environment variable that names a model.
VARIABLE = "STREAMKIT_MODEL"


@attrs.frozen
class DefaultModel:
    """The model that is taken where nobody names one and the environment has the provider's key.

    Attributes:
        provider: its name.
        model: the provider's name for the model.
        variables: where the environment may have the key.
    """

    provider: str
    model: str
    variables: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """The name for a client: ``provider/model``."""
        return f"{self.provider}/{self.model}"


#: In the order in which their keys are looked for: PromptKit's three first, with the models that it takes, so that a
#: pack behaves as it does there. The models of the others are those of recorded streams. All can go out of date.
DEFAULT_MODELS = (
    DefaultModel("openai", "gpt-5.6-terra", ("OPENAI_API_KEY",)),
    DefaultModel("anthropic", "claude-sonnet-5", ("ANTHROPIC_API_KEY",)),
    DefaultModel("gemini", "gemini-3.6-flash", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    DefaultModel("mistral", "mistral-small-latest", ("MISTRAL_API_KEY",)),
    DefaultModel("cohere", "command-r-08-2024", ("COHERE_API_KEY", "CO_API_KEY")),
    DefaultModel("deepseek", "deepseek-chat", ("DEEPSEEK_API_KEY",)),
    DefaultModel("xai", "grok-4-fast-reasoning", ("XAI_API_KEY",)),
    DefaultModel("groq", "llama-3.3-70b-versatile", ("GROQ_API_KEY",)),
    DefaultModel("alibaba", "qwen3-max", ("DASHSCOPE_API_KEY", "ALIBABA_API_KEY")),
    DefaultModel("zai", "glm-4.7", ("ZAI_API_KEY",)),
    DefaultModel("moonshot", "kimi-k3", ("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY")),
    DefaultModel("perplexity", "sonar", ("PERPLEXITY_API_KEY", "PPLX_API_KEY")),
    DefaultModel("openrouter", "openai/gpt-oss-120b", ("OPENROUTER_API_KEY",)),
    DefaultModel("agnic", "openai/gpt-4o", ("AGNIC_TOKEN", "AGNIC_API_KEY")),
)


def choose_model(
    model: str | None = None,
    *,
    environ: Mapping[str, str],
    providers: Collection[str] | None = None,
    tested: Iterable[TestedModel] | None = None,
) -> str:
    """Return the model for a prompt: the one that is named, or else one that can be asked.

    In this order: ``model``; of ``tested``, where it is given, the first whose provider can be asked;
    ``STREAMKIT_MODEL`` of the environment; the default model of the first provider in ``DEFAULT_MODELS`` that can be
    asked.

    Args:
        model: the name that the program gives.
        environ: the environment variables.
        providers: the names of the providers of a client that was given some: these can be asked. ``None``: those can
            whose key is in the environment.
        tested: the models that the author of the prompt tested, for a program that asks for one of them.

    Raises:
        ConfigError: nothing names a model; the text lists the choices.
    """
    if model is not None:
        return model
    usable = [each for each in DEFAULT_MODELS if _can_be_asked(each, environ, providers)]
    if tested is not None:
        return _tested(list(tested), [each.provider for each in usable])
    named = environ.get(VARIABLE, "").strip()
    if named:
        return named
    if usable:
        return usable[0].full_name
    raise ConfigError(_no_model(providers))


def _can_be_asked(default: DefaultModel, environ: Mapping[str, str], providers: Collection[str] | None) -> bool:
    if providers is not None:
        return default.provider in providers
    return any(environ.get(variable, "").strip() for variable in default.variables)


def _tested(tested: list[TestedModel], usable: Collection[str]) -> str:
    known = registry.names()
    for each in tested:
        provider = registry.meant(each.provider, known)
        if provider in usable:
            return f"{provider}/{each.model}"
    if not tested:
        raise ConfigError("the prompt names no tested model; pass model=")
    names = ", ".join(f"{each.provider}/{each.model}" for each in tested)
    raise ConfigError(
        f"no provider of the tested models has a key in the environment: {names}; set one, or pass model="
    )


def _no_model(providers: Collection[str] | None) -> str:
    if providers is not None:
        names = ", ".join(sorted(providers)) or "it has none"
        return f"no model is named, and none of the client's providers has a default one ({names}); pass model="
    keys = ", ".join(f"{each.variables[0]} for {each.full_name}" for each in DEFAULT_MODELS)
    return f"no model is named: pass model=, such as demo/storyteller, or set {VARIABLE} or a key: {keys}"
