"""Classify clothes by transfer learning: a frozen ResNet50, a new head, and an honest warning."""
