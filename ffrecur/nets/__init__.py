"""The nets: the recurrent top-down net, the character model, and a multilayer perceptron to compare them with."""
