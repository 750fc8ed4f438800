// Scores, classes, the confusion matrix, curves, calibration and thresholds.
