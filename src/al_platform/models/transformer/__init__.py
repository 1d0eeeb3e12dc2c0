"""The transformer: any Hugging Face encoder, fine-tuned with a linear head.

Importing this package or ``options`` loads neither torch nor transformers.
"""
