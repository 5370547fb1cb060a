"""Tables of all parts by name, one registry a role.

Built-in parts are one line each and are imported only when used. Other packages add theirs with
``@gtl.register_task("my_task")`` (``register_encoder``, ``register_weighting``, ...) or through the
entry-point groups ``gtl.tasks``, ``gtl.encoders``, ``gtl.weightings``, ``gtl.adapters``,
``gtl.heads``, ``gtl.readouts``, ``gtl.triple_scores`` and ``gtl.few_shot_methods``.
"""

from gtl.registry import Registry
from gtl.roles import (
    Adapter,
    Encoder,
    FewShotMethod,
    Head,
    Readout,
    Task,
    TripleScore,
    Weighting,
)

_SELF = "gtl.tasks.self_supervised"
_CONSISTENCY = "gtl.tasks.consistency"
_DOMAIN = "gtl.tasks.domain"

ENCODERS = Registry(
    "encoder",
    {
        "gin": "gtl.encoders.gin:GIN",
        "gcn": "gtl.encoders.gcn:GCN",
        "sage": "gtl.encoders.sage:SAGE",
        "gat": "gtl.encoders.gat:GAT",
        "rgcn": "gtl.encoders.rgcn:RGCN",
        "hgt": "gtl.encoders.hgt:HGT",
        "earl": "gtl.encoders.earl:EARL",
        "embedding": "gtl.encoders.embedding:Embedding",
        "mlp": "gtl.encoders.mlp:MLP",
    },
    sized_by=("schema",),
    base=Encoder,
)
TASKS = Registry(
    "task",
    {
        "supervised": "gtl.tasks.supervised:Supervised",
        "attribute_masking": f"{_SELF}.attribute_masking:AttributeMasking",
        "edge_prediction": f"{_SELF}.edge_prediction:EdgePrediction",
        "context_prediction": f"{_SELF}.context_prediction:ContextPrediction",
        "infomax": f"{_SELF}.infomax:Infomax",
        "masked_autoencoder": f"{_SELF}.masked_autoencoder:MaskedAutoencoder",
        "contrast": f"{_SELF}.contrast:Contrast",
        "edge_generation": f"{_SELF}.edge_generation:EdgeGeneration",
        "attribute_generation": f"{_SELF}.attribute_generation:AttributeGeneration",
        "bootstrap": f"{_SELF}.bootstrap:Bootstrap",
        "whitening": f"{_SELF}.whitening:Whitening",
        "pair_distance": f"{_SELF}.pair_distance:PairDistance",
        "pair_similarity": f"{_SELF}.pair_similarity:PairSimilarity",
        "clustering": f"{_SELF}.clustering:Clustering",
        "partition": f"{_SELF}.partition:Partition",
        "motif": f"{_SELF}.motif:Motif",
        "random_quantizer": f"{_SELF}.random_quantizer:RandomQuantizer",
        "descriptors": f"{_SELF}.descriptors:Descriptors",
        "fingerprint": f"{_SELF}.fingerprint:Fingerprint",
        "structure": f"{_SELF}.structure:Structure",
        "link_ranking": "gtl.tasks.link_ranking:LinkRanking",
        "knowledge_consistency": f"{_CONSISTENCY}.knowledge:KnowledgeConsistency",
        "representation_consistency": f"{_CONSISTENCY}.representation:RepresentationConsistency",
        "pseudo_label": f"{_CONSISTENCY}.pseudo_label:PseudoLabel",
        "mean_teacher": f"{_CONSISTENCY}.mean_teacher:MeanTeacher",
        "interpolation_consistency": f"{_CONSISTENCY}.interpolation:InterpolationConsistency",
        "l2_sp": f"{_CONSISTENCY}.l2_sp:L2SP",
        "delta": f"{_CONSISTENCY}.delta:Delta",
        "dann": f"{_DOMAIN}.dann:DANN",
        "cdan": f"{_DOMAIN}.cdan:CDAN",
        "adda": f"{_DOMAIN}.adda:ADDA",
        "mcd": f"{_DOMAIN}.mcd:MCD",
        "wdgrl": f"{_DOMAIN}.wdgrl:WDGRL",
        "mdd": f"{_DOMAIN}.mdd:MDD",
        "dsn": f"{_DOMAIN}.dsn:DSN",
        "mk_mmd": f"{_DOMAIN}.mk_mmd:MKMMD",
        "coral": f"{_DOMAIN}.coral:CORAL",
        "afn": f"{_DOMAIN}.afn:AFN",
        "mcc": f"{_DOMAIN}.mcc:MCC",
        "target_entropy": f"{_DOMAIN}.target_entropy:TargetEntropy",
        "distillation": "gtl.tasks.distillation:Distillation",
    },
    base=Task,
)
WEIGHTINGS = Registry(
    "weighting",
    {
        "equal": "gtl.weightings.equal:Equal",
        "fixed": "gtl.weightings.fixed:Fixed",
        "random_fixed": "gtl.weightings.random_fixed:RandomFixed",
        "uncertainty": "gtl.weightings.uncertainty:Uncertainty",
        "dwa": "gtl.weightings.dwa:DWA",
        "gradnorm": "gtl.weightings.gradnorm:GradNorm",
        "metabalance": "gtl.weightings.metabalance:MetaBalance",
        "gcs": "gtl.weightings.gcs:GCS",
        "ol_aux": "gtl.weightings.ol_aux:OLAux",
        "auto_lambda": "gtl.weightings.auto_lambda:AutoLambda",
        "selar": "gtl.weightings.selar:SELAR",
        "slgrad": "gtl.weightings.slgrad:SLGrad",
        "aux_ts": "gtl.weightings.aux_ts:AuxTS",
    },
    families={"torchjd": "gtl.weightings.torchjd"},
    base=Weighting,
)
ADAPTERS = Registry(
    "adapter",
    {
        "bottleneck": "gtl.adapters.bottleneck:Bottleneck",
        "layerwise": "gtl.adapters.layerwise:Layerwise",
        "parallel": "gtl.adapters.parallel:Parallel",
        "lora": "gtl.adapters.lora:LoRA",
        "film": "gtl.adapters.film:FiLM",
        "prompt": "gtl.adapters.prompt:Prompt",
        "spatio_temporal": "gtl.adapters.spatio_temporal:SpatioTemporal",
    },
    base=Adapter,
)
HEADS = Registry(
    "head",
    {
        "linear": "gtl.heads.linear:Linear",
        "mlp": "gtl.heads.mlp:MLP",
        "cosine": "gtl.heads.cosine:Cosine",
        "prototype": "gtl.heads.prototype:Prototype",
        "shrinkage": "gtl.heads.shrinkage:Shrinkage",
        "gaussian": "gtl.heads.gaussian:Gaussian",
        "kgtn": "gtl.heads.kgtn:KGTN",
    },
    sized_by=("width", "outputs"),
    base=Head,
)
TRIPLE_SCORES = Registry(
    "triple score",
    {
        "transe": "gtl.heads.triple_score:TransE",
        "distmult": "gtl.heads.triple_score:DistMult",
        "complex": "gtl.heads.triple_score:ComplEx",
        "rotate": "gtl.heads.triple_score:RotatE",
    },
    sized_by=("width", "relations"),
    base=TripleScore,
)
READOUTS = Registry(
    "readout",
    {
        "mean": "gtl.encoders.readout:Mean",
        "sum": "gtl.encoders.readout:Sum",
        "max": "gtl.encoders.readout:Max",
        "attention": "gtl.encoders.readout:Attention",
        "concatenated": "gtl.encoders.readout:Concatenated",
    },
    sized_by=("width",),
    base=Readout,
)
FEW_SHOT_METHODS = Registry(
    "few-shot method",
    {
        "linear": "gtl.fewshot.methods:Linear",
        "cosine": "gtl.fewshot.methods:Cosine",
        "prototype": "gtl.fewshot.methods:Prototype",
        "gaussian": "gtl.fewshot.methods:Gaussian",
        "shrinkage": "gtl.fewshot.methods:Shrinkage",
        "kgtn": "gtl.fewshot.methods:KGTN",
        "fit": "gtl.fewshot.adaptive:FiT",
        "finetune": "gtl.fewshot.adaptive:FineTune",
        "selected": "gtl.fewshot.selected:Selected",
    },
    base=FewShotMethod,
    former_names={"judged": "selected"},
)

register_encoder = ENCODERS.register
register_task = TASKS.register
register_weighting = WEIGHTINGS.register
register_adapter = ADAPTERS.register
register_head = HEADS.register
register_triple_score = TRIPLE_SCORES.register
register_readout = READOUTS.register
register_few_shot_method = FEW_SHOT_METHODS.register
