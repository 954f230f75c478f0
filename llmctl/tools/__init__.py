"""Running things: the only room that starts processes. Knows neither the database nor who asked."""
