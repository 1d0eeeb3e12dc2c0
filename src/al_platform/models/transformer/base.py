"""The encoder to start from: found on disk, in the store or in the Hugging Face cache, and read without pickle."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from al_platform.domain.errors import ConfigError
from al_platform.models.transformer.options import STORED, TransformerOptions
from al_platform.models.transformer.texts import PageTokenizer, layout_of

FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens*",
    "vocab*",
    "merges*",
)
SENTENCE_PIECE = ("*.model", "*.spm")
UNREAD = "pooler."  # some encoders cannot be built without it; pages are pooled in another way
SAYS_WHERE = (
    "Give a local folder, 'store:NAME' for encoders/NAME below the root of models, or the id of a model in the "
    "Hugging Face cache; with model.transformer.allow_download: true an id may be downloaded."
)


@dataclass(frozen=True)
class Pretrained:
    """An encoder as it was published, or as the champion has it.

    Attributes:
        digest: Of the published files that it comes from.
        encoder_config: Its shape, as Hugging Face writes it.
        tensors: Its weights, float32, by name.
        tokenizer: How texts become its input.
    """

    digest: str
    encoder_config: Mapping[str, Any]
    tensors: Mapping[str, NDArray[np.float32]]
    tokenizer: PageTokenizer


def base_folder(options: TransformerOptions, stored: Callable[[str], Path]) -> Path:
    """Return the local folder of the encoder that ``options`` name.

    Args:
        options: The encoder's name, revision, and whether it may be downloaded.
        stored: Returns the local folder of an encoder in the store.

    Raises:
        ConfigError: It is not there.
    """
    if options.name.startswith(STORED):
        folder = stored(options.name.removeprefix(STORED))
    elif Path(options.name).is_dir():
        folder = Path(options.name)
    else:
        folder = _from_hub(options)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"Asked for the encoder {options.name!r}, but {folder} holds no config.json with weights in safetensors "
            f"(other formats can run code and are not read). {SAYS_WHERE}"
        )
    return folder


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over names and contents of an encoder's files."""
    files = {file for pattern in (*FILES, *SENTENCE_PIECE) for file in folder.glob(pattern)}
    digest = sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            digest.update(sha256(content.read()).digest())
    return digest.hexdigest()


def read_base(folder: Path) -> Pretrained:
    """Return the encoder in ``folder``.

    Raises:
        ConfigError: It is no encoder that transformers knows, its files are damaged, or weights are missing.
    """
    try:
        return Pretrained(digest_of(folder), *_read(folder))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"The encoder in {folder} cannot be read: {error}") from error


def require_length(options: TransformerOptions, encoder_config: Mapping[str, Any]) -> None:
    """Check that the encoder reads sequences of ``options.max_tokens``.

    Raises:
        ConfigError: It does not.
    """
    from al_platform.models.transformer.network import most_tokens

    most = most_tokens(encoder_config)
    if most is not None and options.max_tokens > most:
        raise ConfigError(
            f"Asked for {options.max_tokens} tokens, but {options.name} reads {most} at most. Lower "
            f"model.transformer.max_tokens, or read long pages with long_text: chunks."
        )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]], PageTokenizer]:
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    from al_platform.models.transformer.network import pooler_options

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet_transformers(), torch.random.fork_rng(devices=[]):
        config = AutoConfig.from_pretrained(folder, **local)
        model, found = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **local,
            **pooler_options(config),
        )
        _require_weights(found["missing_keys"], folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **local)
    tensors = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    shape = {name: value for name, value in config.to_diff_dict().items() if name not in _OF_THE_FILE}
    return (
        {**shape, "model_type": config.model_type},
        tensors,
        PageTokenizer(backend.to_str(), layout_of(backend, padding)),
    )


def _require_weights(missing: Iterable[str], folder: Path) -> None:
    # transformers fills what is missing with noise, and says so in a warning alone.
    if lacking := sorted(name for name in missing if not name.startswith(UNREAD)):
        raise ConfigError(
            f"The encoder in {folder} lacks {len(lacking)} weights, such as {lacking[0]}: training would start from "
            f"noise there. Copy all of its safetensors files, or take an encoder that is whole."
        )


_OF_THE_FILE = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures")


def _from_hub(options: TransformerOptions) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    may_download = options.allow_download and os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0")
    try:
        found = snapshot_download(
            options.name,
            revision=options.revision,
            local_files_only=not may_download,
            allow_patterns=[*FILES, *SENTENCE_PIECE],
        )
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        tried = "nor could it be downloaded" if may_download else "and may not be downloaded"
        raise ConfigError(
            f"Asked for the encoder {options.name!r}: it is no local folder, not in the Hugging Face cache, {tried}. "
            f"{SAYS_WHERE} ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    return Path(found)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
