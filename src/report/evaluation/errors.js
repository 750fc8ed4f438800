// What goes wrong: slices, confused pairs, doubtful labels, near duplicates; entities and answers in their texts.
