"""The pages of the operator dashboard: the list, a saga, signing in, and the API's documentation."""
