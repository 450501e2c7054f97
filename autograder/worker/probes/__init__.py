"""Public stub networks whose answers are known, handed to student code in the place of a trained network.

A check builds a probe with weights of its choice inside the sandbox, passes its handle to the student's loss or
sampler, and compares the result with what the theory says for exactly this network. Nothing here is secret: each
docstring states what is known; laws that take computing lie with the judge, in `autograder.vocabulary.known_laws`.
Those of diffusion and flow matching answer by time and condition, so that a wrong time shows; every probe ignores
further arguments. Its floating weights are parameters, so that gradients and optimisers work on it.

A family of models has a module here; a new probe is a class in it and its name in `PROBES`.
"""

from torch import nn

from .adversarial import Conjugate, DiscreteCritic, WaveCritic
from .autoregressive import TableConditional
from .diffusion import (
    AffineScore,
    Conditional,
    GaussianNoise,
    GaussianScore,
    LabelGaussian,
    MixtureScore,
    SigmaScore,
    TableEnergy,
    TanhScore,
    TimeAffine,
)
from .flow_matching import GaussianVelocity, LinearField, LinearInTime, SwirlField, TimeField
from .flows import AffineFlow, AffinePair, Bend, Rotate, Scale, TriangularPair
from .general import Constant, Exploding, Linear, Quadratic, Recorder, ReluMap, Same
from .latent import ConstantCode, GaussianDecoder, GaussianEncoder
from .trainable import Perceptron, SmallField, SmallVelocity

PROBES: dict[str, type[nn.Module]] = {
    probe.__name__: probe
    for probe in (
        *(Constant, Linear, Quadratic, ReluMap, Recorder, Same, Exploding),
        *(Perceptron, SmallVelocity, SmallField),
        *(TableConditional,),
        *(AffinePair, TriangularPair, AffineFlow, Scale, Rotate, Bend),
        *(GaussianEncoder, GaussianDecoder, ConstantCode),
        *(DiscreteCritic, WaveCritic, Conjugate),
        *(AffineScore, TanhScore, TableEnergy, SigmaScore, MixtureScore),
        *(TimeAffine, GaussianNoise, GaussianScore, LabelGaussian, Conditional),
        *(GaussianVelocity, LinearField, TimeField, SwirlField, LinearInTime),
    )
}
