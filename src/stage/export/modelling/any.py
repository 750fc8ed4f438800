# Written by refit: an encoder with a head that transformers' own classes do not have. Load it with
#
#     AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)
#     AutoModelForTokenClassification.from_pretrained(FOLDER, trust_remote_code=True)
#
# as config.json says under `architectures`. Both read the last `refit_layers` hidden states, combined as `refit_combine`
# says, and have a dense layer of each width in `refit_hidden_layers` before the one that answers. The first pools the hidden
# states as `refit_pooling` says. The second may decide the tags of a sentence together, by a linear-chain CRF: its logits are
# the emissions, and `decode` finds the best tags. The encoder is transformers' own, of the model type that `refit_family` names. The model as a whole has a model type
# of its own: without this file it does not load, instead of loading without what was trained.
#
# Tried with transformers 5.23. License: MIT OR Apache-2.0.

import inspect

import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput


class RefitConfig(PreTrainedConfig):
    """All fields of the encoder's own configuration, and the head's."""

    model_type = "refit_encoder"

    def __init__(
        self,
        refit_family="bert",
        refit_prefix="bert",
        refit_dropout=0.1,
        refit_pooling="mean",
        refit_allowed=None,
        refit_layers=1,
        refit_combine="mean",
        refit_hidden_layers=(),
        refit_activation="gelu",
        **kwargs,
    ):
        self.refit_family = refit_family
        # What the names of the encoder's tensors begin with.
        self.refit_prefix = refit_prefix
        self.refit_dropout = refit_dropout
        self.refit_pooling = refit_pooling
        # [from][to]: 1 where one tag may follow another; the last row is a sentence's start, the last column its end.
        self.refit_allowed = refit_allowed
        self.refit_layers = refit_layers
        self.refit_combine = refit_combine
        self.refit_hidden_layers = list(refit_hidden_layers)
        self.refit_activation = refit_activation
        super().__init__(**kwargs)

    def of_encoder(self):
        fields = {name: value for name, value in self.to_dict().items() if not name.startswith("refit_")}
        for name in ("model_type", "architectures", "auto_map", "problem_type", "id2label", "label2id"):
            fields.pop(name, None)
        return CONFIG_MAPPING[self.refit_family](**fields)


# part: pool


class RefitModel(PreTrainedModel):
    config_class = RefitConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.base_model_prefix = config.refit_prefix
        inner = config.of_encoder()
        model = MODEL_MAPPING[type(inner)]
        takes = inspect.signature(model.__init__).parameters
        options = {"add_pooling_layer": config.refit_pooling == "pooler"} if "add_pooling_layer" in takes else {}
        setattr(self, config.refit_prefix, model(inner, **options))
        self.takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
        self.dropout = nn.Dropout(config.refit_dropout)
        width = inner.hidden_size * (config.refit_layers if config.refit_combine == "concat" else 1)
        widths = [width, *config.refit_hidden_layers]
        self.mlp = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:]))
        self.classifier = nn.Linear(widths[-1], config.num_labels)

    def encode(self, input_ids, attention_mask, token_type_ids, **kwargs):
        wanted = {name: value for name, value in kwargs.items() if value is not None}
        if self.takes_types and token_type_ids is not None:
            wanted["token_type_ids"] = token_type_ids
        if self.config.refit_layers > 1:
            wanted["output_hidden_states"] = True
        encoder = getattr(self, self.config.refit_prefix)
        return encoder(input_ids, attention_mask=attention_mask, return_dict=True, **wanted)

    def combined(self, outputs):
        """What the head reads of the hidden states. -> [batch, length, width, or several times that]"""
        layers = self.config.refit_layers
        if layers == 1:
            return outputs.last_hidden_state
        states = outputs.hidden_states[-layers:]
        return torch.cat(states, dim=-1) if self.config.refit_combine == "concat" else sum(states) / layers

    def answer(self, read):
        for dense in self.mlp:
            read = ACT2FN[self.config.refit_activation](dense(self.dropout(read)))
        return self.classifier(self.dropout(read))


class RefitForSequenceClassification(RefitModel):
    def __init__(self, config):
        super().__init__(config)
        self.post_init()

# part: loss of texts

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        inputs_embeds=None,
        labels=None,
        return_dict=None,
        **kwargs,
    ):
        if attention_mask is None:
            given = input_ids if input_ids is not None else inputs_embeds[..., 0]
            attention_mask = torch.ones(given.shape, dtype=torch.long, device=given.device)
        outputs = self.encode(input_ids, attention_mask, token_type_ids, inputs_embeds=inputs_embeds, **kwargs)
        if self.config.refit_pooling == "pooler":
            pooled = outputs.pooler_output
        else:
            pooled = pool(self.combined(outputs), attention_mask, self.config.refit_pooling)
        logits = self.answer(pooled)
        loss = None if labels is None else self.loss_of(logits, labels)
        answer = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return answer.to_tuple() if return_dict is False else answer


# part: crf


class RefitForTokenClassification(RefitModel):
    def __init__(self, config):
        super().__init__(config)
        self.crf = None if config.refit_allowed is None else Crf(config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, return_dict=None, **kwargs):
        """labels: [batch, length], -100 at all but the first sub-token of each word."""
        outputs = self.encode(input_ids, attention_mask, token_type_ids, **kwargs)
        logits = self.answer(self.combined(outputs))
        loss = None
        if labels is not None and self.crf is None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        elif labels is not None:
            words = labels != -100
            sentences = [(e[w], t[w].tolist()) for e, t, w in zip(logits, labels, words) if bool(w.any())]
            total = sum(self.crf.log_likelihood(emissions, tags) for emissions, tags in sentences)
            loss = -total / words.sum().clamp(min=1)
        answer = TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return answer.to_tuple() if return_dict is False else answer

    def decode(self, logits, words):
        """The tags of each sentence. words: bool [batch, length], true at the first sub-token of each word."""
        if self.crf is None:
            return [sentence[mask].argmax(dim=-1).tolist() for sentence, mask in zip(logits, words.bool())]
        allowed = torch.tensor(self.config.refit_allowed, dtype=torch.bool, device=logits.device)
        sentences = [emissions[mask] for emissions, mask in zip(logits, words.bool())]
        return [self.crf.decode(sentence, allowed) if len(sentence) else [] for sentence in sentences]
