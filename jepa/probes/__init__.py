"""What is asked of a frozen encoder: linear probes, nearest neighbours, label-free health, feature maps."""
