"""A static web page of the catalogue: `build` writes it, `data` says what is in it, `provenance` draws its graphs."""
