# Written by refit: BERT for sequence classification over the last hidden states,
# pooled as `refit_pooling` in config.json says. Load it with
#
#     AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)
#
# transformers' own BertForSequenceClassification knows only the pooler, so a model with another pooling has a model
# type of its own: without this file it does not load, instead of loading with a pooler that was never trained.
#
# Tried with transformers 5.23. License: MIT OR Apache-2.0.

import torch
from torch import nn
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class RefitBertConfig(BertConfig):
    model_type = "refit_bert"

    def __init__(self, refit_pooling="mean", **kwargs):
        self.refit_pooling = refit_pooling
        super().__init__(**kwargs)


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
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels.view(-1))
        answer = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return answer.to_tuple() if return_dict is False else answer
