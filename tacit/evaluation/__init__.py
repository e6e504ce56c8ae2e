"""What a model is worth and what it cost: ranking, classification, groups, intervals, and a demonstrated leak."""
