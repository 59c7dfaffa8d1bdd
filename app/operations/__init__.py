"""What is done with sagas: operators' actions, retention, statistics and live streams."""
