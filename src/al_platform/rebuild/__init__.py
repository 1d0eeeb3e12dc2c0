"""A model made again from its record alone: ``kedro al rebuild MODEL``.

``record`` finds the runs that made and judged the model, ``replay`` runs their nodes on the recorded files with the
recorded parameters, ``compare`` says what came out otherwise. The store is only read.
"""
