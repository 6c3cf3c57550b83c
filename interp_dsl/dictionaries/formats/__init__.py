"""Dictionaries in the files of SAELens, dictionary_learning and sparsify.

What a file's configuration says is read without torch (config.py and a module a format), the
tensors in reading.py, and both are written in writing.py. All that is read is brought to one
convention, of `Dictionary`; what has no counterpart there is refused, by the name of its field."""
