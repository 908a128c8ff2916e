"""The panel of the models: found, chosen, loaded, fetched and given up."""
