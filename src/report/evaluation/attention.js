// What the model looks at: attention and attributions of chosen examples.
