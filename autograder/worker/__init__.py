"""The untrusted side: runs a student's notebook and answers the judge's requests; copied alone into an image.

wire: layout, encoding, decoding   frames between the two sides; the judge imports these too
__main__, channel, server          the process: descriptors, output, one reply a request
notebook: scopes, placing          cells in one namespace, copies of it, the files beside the notebook
shell: syntax, newer, lines,       IPython's shell: what a cell means, and what of it is not run here
  absent, skipping, notes
helpers                            modules beside the notebook
stubs, shims, dynamo               a machine that is neither Colab nor has a GPU
objects: calling, gradients,       what the judge asks of the notebook's names
  parameters, replies
probes/                            public stub networks whose answers are known, a module for each family
frames                             an exception as data, with the student's own last frame
"""
