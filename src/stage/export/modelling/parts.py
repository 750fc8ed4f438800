# What both modelling files have in common. Each part stands where a file says so with the same line.

# part: pool
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

# part: loss of texts
    def loss_of(self, logits, labels):
        if self.config.problem_type == "multi_label_classification":
            return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        if self.config.problem_type == "regression":
            return nn.functional.mse_loss(logits.view(labels.shape), labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels.view(-1))

# part: crf
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
