"""Trained nets on the hub of Hugging Face, as `config.json` and `model.safetensors`; `import ffrecur.hub` for it.

The library `huggingface_hub` does the work and is imported when it is needed. It takes the token and the address from where
it always does: `hf auth login`, or the environment.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ffrecur.core.goodness import Goodness
from ffrecur.errors import UserError, one_line
from ffrecur.storage.checkpoint import Net, load, save
from ffrecur.storage.exported import CONFIG, WEIGHTS

save_pretrained = save  # the name that users of the hub look for


def from_pretrained(
    name_or_folder: str | Path, revision: str | None = None, goodness: Goodness | type[Goodness] | None = None
) -> Net:
    """Return the net of a folder (see `ffrecur.load`), or of a model on the hub, such as "someone/fables".

    Of a model on the hub nothing but the two exported files is fetched, so nothing in it can run as code. `revision` is a
    branch, tag or commit; `goodness` as in `ffrecur.load`. Offline a copy that was fetched before will do. Raises `UserError`
    where there is no such model, or the hub cannot be reached.
    """
    try:
        if Path(name_or_folder).exists():
            return load(name_or_folder, goodness=goodness)
    except OSError as error:  # a name that no file can have
        raise UserError(f"model is '{name_or_folder}', which cannot be read: {error.strerror}") from error
    from huggingface_hub import HfApi

    try:
        folder = HfApi().snapshot_download(str(name_or_folder), revision=revision, allow_patterns=[CONFIG, WEIGHTS])
    except Exception as error:  # the library raises some twenty kinds
        raise UserError(
            f"model is '{name_or_folder}', which is not a folder here and cannot be fetched from the hub ({one_line(error)})"
        ) from error
    return load(folder, goodness=goodness)


def push_to_hub(net: Net, repo_id: str, private: bool | None = None, commit_message: str | None = None) -> str:
    """Upload a net to the model `repo_id`, such as "me/fables", which is made if need be; return the commit's address.

    `private` is for a model that is made: None leaves it to the owner's settings. Raises `UserError` where the hub refuses
    it or cannot be reached.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        save(net, temporary)
        try:
            HfApi().create_repo(repo_id, private=private, exist_ok=True)
            commit = HfApi().upload_folder(
                repo_id=repo_id,
                folder_path=temporary,
                commit_message=commit_message or f"A {type(net).__name__} exported by ffrecur",
            )
        except Exception as error:  # as above
            raise UserError(f"model is '{repo_id}', which cannot be put on the hub ({one_line(error)})") from error
    return commit.commit_url
