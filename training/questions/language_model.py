"""A language model at hand: any OpenAI-compatible endpoint, or a local folder of transformers.

Nothing is contacted unless one of the two is made and asked; the endpoint is on this machine by default.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from n3d_core.errors import BackendError, CheckpointError, optional

LOOPBACK = "http://127.0.0.1:8000/v1"
MAX_REPLY = 1_000_000
"""Bytes of an endpoint's reply that are read."""
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never use a proxy for loopback


class LanguageModel(Protocol):
    """Replies to one user message."""

    def reply(self, system: str, user: str) -> str:
        """The model's text. Raises BackendError if it cannot be had."""
        ...


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible chat endpoint (vLLM, llama.cpp, Ollama and others).

    Attributes:
        model: the model's name as the server knows it.
        url: the server's base, without `/chat/completions`.
        key_variable: environment variable that holds the key, for servers that want one.
        temperature: 0 is deterministic where the server is.
        timeout: seconds for one reply.
    """

    model: str
    url: str = LOOPBACK
    key_variable: str = ""
    temperature: float = 0.7
    timeout: float = 60.0

    def reply(self, system: str, user: str) -> str:
        """One chat completion. Raises BackendError with the server's own words."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = {"model": self.model, "messages": messages, "temperature": self.temperature, "max_tokens": 256}
        headers = {"Content-Type": "application/json"}
        if self.key_variable:
            headers["Authorization"] = f"Bearer {os.environ.get(self.key_variable, '')}"
        address = f"{self.url.rstrip('/')}/chat/completions"
        if not address.startswith(("http://", "https://")):
            raise BackendError(f"the endpoint {self.url!r} is no http(s) address, such as http://127.0.0.1:8000/v1")
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        local = urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
        opening = _LOCAL.open if local else urllib.request.urlopen
        try:
            with opening(request, timeout=self.timeout) as answer:
                data = json.loads(answer.read(MAX_REPLY))
            return str(data["choices"][0]["message"]["content"]).strip()
        except urllib.error.HTTPError as error:
            raise BackendError(f"{address} says {error.code}: {error.read(500).decode(errors='replace')}") from error
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise BackendError(
                f"{address} gives no chat completion ({type(error).__name__}: {error}): start an OpenAI-compatible "
                "server"
            ) from error


class LocalModel:
    """A causal language model from a local folder, through transformers; no download, no remote code.

    Raises:
        MissingDependencyError: if transformers is not installed.
        CheckpointError: if the folder holds no model that it can load.
    """

    def __init__(self, folder: str | Path, max_new_tokens: int = 128) -> None:
        with optional("a local language model needs transformers", "'n3d-ros[lift-models]'"):
            from transformers import AutoModelForCausalLM, AutoTokenizer
        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(str(folder), **safe)
            self.model = AutoModelForCausalLM.from_pretrained(str(folder), use_safetensors=True, **safe)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: no causal language model in safetensors ({error})") from error
        self.max_new_tokens = max_new_tokens

    def reply(self, system: str, user: str) -> str:
        """A greedy reply, through the tokenizer's chat template where it has one."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        if self.tokenizer.chat_template:
            prompt = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            prompt = f"{system}\n{user}\n"
        inputs = self.tokenizer(prompt, return_tensors="pt")
        ids = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        return str(self.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


def add_options(parser: argparse.ArgumentParser, option: str, purpose: str) -> None:
    """Options of a command that may ask a language model; `chosen` reads them."""
    parser.add_argument(option, metavar="MODEL", dest="language_model", default="",
                        help=f"{purpose}: a local folder of transformers, or a model's name at --endpoint")  # fmt: skip
    parser.add_argument("--endpoint", default=LOOPBACK, help="base of an OpenAI-compatible server")
    parser.add_argument("--key-variable", default="", help="environment variable that holds the endpoint's key")


def chosen(options: argparse.Namespace) -> LanguageModel | None:
    """The model that the options of `add_options` name; None for none. Raises as the models do."""
    name = options.language_model
    if not name:
        return None
    return LocalModel(name) if Path(name).is_dir() else Endpoint(name, options.endpoint, options.key_variable)
