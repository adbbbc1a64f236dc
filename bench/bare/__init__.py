"""No queue at all: what the libraries below allow."""
