// How training went, the data and its tokens, the steps of the pipeline, and the spec.
