# Written by refit: BERT with a head that transformers' own classes do not have. Load it with
#
#     AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)
#     AutoModelForTokenClassification.from_pretrained(FOLDER, trust_remote_code=True)
#
# as config.json says under `architectures`. The first pools the last hidden states as `refit_pooling` says, where
# BertForSequenceClassification knows only the pooler. The second decides the tags of a sentence together, by a linear-chain
# CRF: its logits are the emissions, and `decode` finds the best tags. Such a model has a model type of its own: without
# this file it does not load, instead of loading without what was trained.
#
# Tried with transformers 5.23. License: MIT OR Apache-2.0.

import torch
from torch import nn
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput


class RefitBertConfig(BertConfig):
    model_type = "refit_bert"

    def __init__(self, refit_pooling="mean", refit_allowed=None, **kwargs):
        self.refit_pooling = refit_pooling
        # [from][to]: 1 where one tag may follow another; the last row is a sentence's start, the last column its end.
        self.refit_allowed = refit_allowed
        super().__init__(**kwargs)


# part: pool


class RefitBertForSequenceClassification(BertPreTrainedModel):
    config_class = RefitBertConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

# part: loss of texts

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        inputs_embeds=None,
        labels=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ):
        if attention_mask is None:
            given = input_ids if input_ids is not None else inputs_embeds[..., 0]
            attention_mask = torch.ones(given.shape, dtype=torch.long, device=given.device)
        wanted = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        outputs = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **{name: value for name, value in wanted.items() if value is not None},
        )
        pooled = pool(outputs.last_hidden_state, attention_mask, self.config.refit_pooling)
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else self.loss_of(logits, labels)
        answer = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return answer.to_tuple() if return_dict is False else answer


# part: crf


class RefitBertForTokenClassification(BertPreTrainedModel):
    config_class = RefitBertConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.crf = Crf(config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, return_dict=None, **kwargs):
        """labels: [batch, length], -100 at all but the first sub-token of each word."""
        wanted = {name: value for name, value in kwargs.items() if value is not None}
        outputs = self.bert(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, return_dict=True, **wanted
        )
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
