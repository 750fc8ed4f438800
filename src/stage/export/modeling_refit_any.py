# Written by refit: an encoder with a head that transformers' own classes do not have. Load it with
#
#     AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)
#     AutoModelForTokenClassification.from_pretrained(FOLDER, trust_remote_code=True)
#
# as config.json says under `architectures`. The first pools the last hidden states as `refit_pooling` says. The second
# decides the tags of a sentence together, by a linear-chain CRF: its logits are the emissions, and `decode` finds the best
# tags. The encoder is transformers' own, of the model type that `refit_family` names. The model as a whole has a model type
# of its own: without this file it does not load, instead of loading without what was trained.
#
# Tried with transformers 5.23. License: MIT OR Apache-2.0.

import inspect

import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig, PreTrainedModel
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
        **kwargs,
    ):
        self.refit_family = refit_family
        # What the names of the encoder's tensors begin with.
        self.refit_prefix = refit_prefix
        self.refit_dropout = refit_dropout
        self.refit_pooling = refit_pooling
        # [from][to]: 1 where one tag may follow another; the last row is a sentence's start, the last column its end.
        self.refit_allowed = refit_allowed
        super().__init__(**kwargs)

    def of_encoder(self):
        fields = {name: value for name, value in self.to_dict().items() if not name.startswith("refit_")}
        for name in ("model_type", "architectures", "auto_map", "problem_type", "id2label", "label2id"):
            fields.pop(name, None)
        return CONFIG_MAPPING[self.refit_family](**fields)


def pool(hidden, mask, pooling):
    """hidden [batch, length, width], mask [batch, length] with 1 at real tokens -> [batch, width]"""
    if pooling == "cls":
        return hidden[:, 0]
    mask = mask.unsqueeze(-1).bool()
    if pooling == "mean":
        return hidden.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    if pooling == "max":
        return hidden.masked_fill(~mask, torch.finfo(hidden.dtype).min).max(dim=1).values
    raise ValueError(f"refit_pooling is cls, mean or max, not {pooling!r}")


class RefitModel(PreTrainedModel):
    config_class = RefitConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.base_model_prefix = config.refit_prefix
        inner = config.of_encoder()
        model = MODEL_MAPPING[type(inner)]
        takes = inspect.signature(model.__init__).parameters
        options = {"add_pooling_layer": False} if "add_pooling_layer" in takes else {}
        setattr(self, config.refit_prefix, model(inner, **options))
        self.takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
        self.dropout = nn.Dropout(config.refit_dropout)
        self.classifier = nn.Linear(inner.hidden_size, config.num_labels)

    def encode(self, input_ids, attention_mask, token_type_ids, **kwargs):
        wanted = {name: value for name, value in kwargs.items() if value is not None}
        if self.takes_types and token_type_ids is not None:
            wanted["token_type_ids"] = token_type_ids
        encoder = getattr(self, self.config.refit_prefix)
        return encoder(input_ids, attention_mask=attention_mask, return_dict=True, **wanted)


class RefitForSequenceClassification(RefitModel):
    def __init__(self, config):
        super().__init__(config)
        self.post_init()

    def loss_of(self, logits, labels):
        if self.config.problem_type == "multi_label_classification":
            return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        if self.config.problem_type == "regression":
            return nn.functional.mse_loss(logits.view(labels.shape), labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels.view(-1))

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
        pooled = pool(outputs.last_hidden_state, attention_mask, self.config.refit_pooling)
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else self.loss_of(logits, labels)
        answer = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return answer.to_tuple() if return_dict is False else answer


class Crf(nn.Module):
    """A linear-chain conditional random field (Lafferty et al. 2001) over emissions [words, tags] of one sentence."""

    def __init__(self, tags):
        super().__init__()
        self.start_transitions = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        self.end_transitions = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(tags, tags).uniform_(-0.1, 0.1))

    def log_likelihood(self, emissions, tags):
        score = self.start_transitions[tags[0]] + emissions[0, tags[0]] + self.end_transitions[tags[-1]]
        score = score + sum(self.transitions[a, b] + e[b] for a, b, e in zip(tags, tags[1:], emissions[1:]))
        paths = self.start_transitions + emissions[0]
        for emission in emissions[1:]:
            paths = torch.logsumexp(paths[:, None] + self.transitions, dim=0) + emission
        return score - torch.logsumexp(paths + self.end_transitions, dim=0)

    def decode(self, emissions, allowed):
        """The best tags along allowed transitions. allowed: bool [tags + 1, tags + 1]"""
        never = torch.finfo(emissions.dtype).min / 4
        between = self.transitions.masked_fill(~allowed[:-1, :-1], never)
        paths = self.start_transitions.masked_fill(~allowed[-1, :-1], never) + emissions[0]
        before = []
        for emission in emissions[1:]:
            paths, best = (paths[:, None] + between).max(dim=0)
            paths = paths + emission
            before.append(best)
        tag = int((paths + self.end_transitions.masked_fill(~allowed[:-1, -1], never)).argmax())
        tags = [tag]
        for best in reversed(before):
            tag = int(best[tag])
            tags.append(tag)
        return tags[::-1]


class RefitForTokenClassification(RefitModel):
    def __init__(self, config):
        super().__init__(config)
        self.crf = Crf(config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, return_dict=None, **kwargs):
        """labels: [batch, length], -100 at all but the first sub-token of each word."""
        outputs = self.encode(input_ids, attention_mask, token_type_ids, **kwargs)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
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
        allowed = torch.tensor(self.config.refit_allowed, dtype=torch.bool, device=logits.device)
        sentences = [emissions[mask] for emissions, mask in zip(logits, words.bool())]
        return [self.crf.decode(sentence, allowed) if len(sentence) else [] for sentence in sentences]
