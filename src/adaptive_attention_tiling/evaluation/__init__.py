"""What a model does with a text under one kind of attention and another, measured."""
