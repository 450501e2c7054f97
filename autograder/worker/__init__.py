"""The untrusted side: runs a student's notebook and answers the judge's requests; copied alone into an image.

wire: layout, encoding, decoding   frames between the two sides; the judge imports these too
__main__, channel, server          the process: descriptors, output, one reply a request
notebook: cells, magics, stubs,    cells in one namespace, on a machine that is neither Colab nor has a GPU
  shims, dynamo, notes
objects: calling, gradients,       what the judge asks of the notebook's names
  replies
probes/                            public stub networks whose answers are known, a module for each family
frames                             an exception as data, with the student's own last frame
"""
