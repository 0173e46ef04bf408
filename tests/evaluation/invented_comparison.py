"""An invented comparison for the tests of what is made of one."""

import itertools

METRICS = ("accuracy", "macro_f1", "mcc", "nll", "brier")
LONG = "CausalLMClassifier (HuggingFaceTB/SmolLM2-135M-Instruct), rule_{place} $5 & 100 %"
KOREAN = "아주 긴 한국어 방법 이름 (사전학습 모델/대형) {place}"


def interval(value, width=0.02):
    return {"value": value, "low": value - width, "high": value + width}


def comparison(methods, name="M{place}", several_seeds=False, data="Toy"):
    """Values as `compare` gives them: each method is two points worse than the one above, in groups of two."""
    names = [name.format(place=place) for place in range(methods)]
    runs, pairs, agreement = [], [], []
    for place in range(methods):
        accuracy = 0.9 - 0.02 * place
        metrics = {metric: interval(accuracy) for metric in METRICS} | {"ece": {"value": 0.1}}
        difference = {
            metric: {**interval(-0.02 * place), "p": 0.01, "p_holm": 0.03, "rows": 1000} for metric in METRICS
        }
        difference["accuracy"] |= {"wins": 40, "losses": 1060, "smallest_visible": 0.02}
        if several_seeds and place == 1:
            metrics["accuracy"]["sd"] = 0.0123
            difference["accuracy"] |= {"wins": None, "losses": None}
        runs.append(
            {
                "name": names[place],
                "runs": [f"runs/{place}"],
                "seeds": 3 if several_seeds and place == 1 else 1,
                "group": 1 + place // 2,
                "command": f"fit --config c.yaml --x {place} | b",
                "metrics": metrics,
                "majority_accuracy": 0.25,
                "train_rows": 8530,
                "rows": 1000,
                "invalid": 4 if place == 0 else 0,
                "difference": None if place == 0 else difference,
                "examples_per_second": 10.0**place if place < 5 else None,
                "peak_memory_mib": 2048.0,
                "trained_parameters": 22_713_216,
                "cost": None,
                "device": "cpu",
                "speed_note": None if place < 5 else "not measured",
                "pareto": place < 5,
                "warnings": ["8 wrong rows are fewer than 20"] if place == 1 else [],
            }
        )
    for one, other in itertools.combinations(range(methods), 2):
        both = {"first": names[one], "second": names[other]}
        sentence = f"{names[one]} is better than {names[other]}: 31 rows against 12, p = 0.005."
        pairs.append({**both, "difference": {"accuracy": interval(0.1)}, "sentence": sentence})
        agreement.append({**both, "kappa": 0.5 + 0.01 * one, "only_first": 31, "only_second": 1200})
    result = {
        "baseline": names[0],
        "rows": 1000,
        "dropped_rows": 0,
        "clusters": None,
        "smallest_visible": {"accuracy": 0.028},
        "runs": runs,
        "pairs": pairs,
        "agreement": agreement,
        "all_miss": {"count": 50, "ids": []},
        "ensembles": [{"of": names, "vote": {"accuracy": 0.95, "macro_f1": 0.9}, "mean_log_probability": None}],
    }
    return {"version": 1, "metric": "accuracy", "data_sets": {data: result}, "ranks": None}
