//! How to use an exported model in Python, as the model card shows it: for each task, what transformers needs from question to
//! answer.

use serde_json::Value;

use crate::task::{AnswerSettings, Task};

/// For a bundle with this `config.json`, and `model.json` where it has one; `adapter` where it holds an adapter alone.
pub(super) fn usage(config: &Value, model: &Value, task: Task, adapter: bool) -> String {
    let remote = config.get("auto_map").is_some();
    let trust = if remote {
        ", trust_remote_code=True"
    } else {
        ""
    };
    let crf = config.get("refit_allowed").is_some_and(Value::is_array);
    let stacked = config.get("refit_layers").is_some();
    let why = match (remote, crf) {
        (false, _) => "",
        (true, false) if stacked => {
            "\n\nThe model's head reads other layers or has more of its own than transformers' own class, so it comes with a \
             small modelling file of its own, `modeling_refit.py`; hence `trust_remote_code=True`."
        }
        (true, false) => {
            "\n\nThe model pools its hidden states in a way that transformers' own class cannot, so it comes with a small \
             modelling file of its own, `modeling_refit.py`; hence `trust_remote_code=True`."
        }
        (true, true) => {
            "\n\nThe tags of a sentence are decided together by a CRF, which transformers does not have, so the model comes \
             with a small modelling file of its own, `modeling_refit.py`; hence `trust_remote_code=True`."
        }
    };
    let class = match task {
        Task::Classification | Task::MultiLabel | Task::Regression => {
            "AutoModelForSequenceClassification"
        }
        Task::TokenClassification => "AutoModelForTokenClassification",
        Task::QuestionAnswering => "AutoModelForQuestionAnswering",
    };
    let tuned = model.get("thresholds").is_some();
    let thresholds = match (task, tuned) {
        (Task::MultiLabel, true) => {
            "thresholds = torch.tensor(json.load(open(f\"{folder}/model.json\"))[\"thresholds\"])\n"
        }
        (Task::MultiLabel, false) => "thresholds = 0.5\n",
        _ => "",
    };
    let json = if thresholds.contains("json.") {
        "import json\n\n"
    } else {
        ""
    };
    let ask = match task {
        Task::Classification => {
            "inputs = tokenizer([\"Some text.\"], padding=True, truncation=True, return_tensors=\"pt\")\n\
             with torch.no_grad():\n\
             \x20   probabilities = model(**inputs).logits.softmax(dim=-1)\n\
             print(model.config.id2label[probabilities[0].argmax().item()])"
        }
        Task::MultiLabel => {
            "inputs = tokenizer([\"Some text.\"], padding=True, truncation=True, return_tensors=\"pt\")\n\
             with torch.no_grad():\n\
             \x20   probabilities = model(**inputs).logits.sigmoid()\n\
             print([model.config.id2label[i.item()] for i in (probabilities[0] >= thresholds).nonzero()])"
        }
        Task::Regression => {
            "inputs = tokenizer([\"Some text.\"], padding=True, truncation=True, return_tensors=\"pt\")\n\
             with torch.no_grad():\n\
             \x20   print(model(**inputs).logits[0].tolist())"
        }
        Task::TokenClassification => {
            "words = [\"Some\", \"words\", \".\"]\n\
             inputs = tokenizer([words], is_split_into_words=True, truncation=True, return_tensors=\"pt\")\n\
             with torch.no_grad():\n\
             \x20   logits = model(**inputs).logits\n\
             # A word is tagged by its first sub-token.\n\
             of = inputs.word_ids(0)\n\
             first = torch.tensor([[w is not None and w not in of[:i] for i, w in enumerate(of)]])\n"
        }
        Task::QuestionAnswering => {
            "question, context = \"Some question?\", \"Some context.\"\n\
             inputs = tokenizer(question, context, truncation=\"only_second\", return_tensors=\"pt\")\n\
             with torch.no_grad():\n\
             \x20   outputs = model(**inputs)\n\
             inside = torch.tensor([s == 1 for s in inputs.sequence_ids(0)])\n\
             scores = outputs.start_logits[0][:, None] + outputs.end_logits[0][None, :]\n\
             scores = scores.triu().tril(MOST_AFTER).masked_fill(~(inside[:, None] & inside[None, :]), -1e9)\n\
             start, end = divmod(scores.argmax().item(), scores.shape[1])\n\
             print(context[inputs.token_to_chars(0, start).start : inputs.token_to_chars(0, end).end])"
        }
    };
    let longest = model.get("max_answer_length").and_then(Value::as_u64);
    let longest = longest.unwrap_or(AnswerSettings::default().max_length as u64);
    let after = longest.saturating_sub(1).to_string();
    let ask = ask.replace("MOST_AFTER", &after);
    let decode = match (task, crf) {
        (Task::TokenClassification, true) => {
            "print([model.config.id2label[tag] for tag in model.decode(logits, first)[0]])"
        }
        (Task::TokenClassification, false) => {
            "print([model.config.id2label[tag.item()] for tag in logits[first].argmax(dim=-1)])"
        }
        _ => "",
    };
    let more = match task {
        Task::Classification | Task::MultiLabel | Task::Regression => {
            "\n\nFor pairs of texts: `tokenizer([\"first\"], [\"second\"], …)`."
        }
        _ => "",
    };
    let kept = match model.get("thresholds") {
        Some(Value::Array(thresholds)) if !thresholds.is_empty() => match task {
            Task::MultiLabel => {
                "\n\nEach label has a threshold of its own, in the order of the labels."
            }
            _ => {
                "\n\nThe model may also find no answer: when the sum of both logits at the first token is ahead of the best \
                 answer's by more than the number in `thresholds` of `model.json`."
            }
        },
        _ => "",
    };
    let (imports, load) = match adapter {
        false => (
            format!("from transformers import {class}, AutoTokenizer"),
            format!("model = {class}.from_pretrained(folder{trust}).eval()"),
        ),
        true => (
            format!(
                "from peft import PeftModel\nfrom transformers import AutoConfig, {class}, AutoTokenizer"
            ),
            format!(
                "# The encoder that the adapter was learned on.\n\
                 encoder = \"NAME/OF/THE/ENCODER\"\n\
                 model = {class}.from_pretrained(encoder, config=AutoConfig.from_pretrained(folder))\n\
                 model = PeftModel.from_pretrained(model, folder).eval()"
            ),
        ),
    };
    format!(
        "## Use\n\n\
         ```python\n\
         {json}import torch\n\
         {imports}\n\
         \n\
         folder = \"PATH/TO/THIS/FOLDER\"\n\
         tokenizer = AutoTokenizer.from_pretrained(folder{trust})\n\
         {load}\n\
         \n\
         {thresholds}{ask}{decode}\n\
         ```{more}{kept}{why}"
    )
}
